// Family matmul.
#pragma once
#include "base/types.h"

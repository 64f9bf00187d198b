// Family reduce.
#pragma once
#include "base/types.h"

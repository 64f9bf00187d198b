// Family index.
#pragma once
#include "base/types.h"

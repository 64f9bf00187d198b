// Family norm.
#pragma once
#include "base/types.h"

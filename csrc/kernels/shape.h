// Family shape.
#pragma once
#include "base/types.h"

// Family softmax.
#pragma once
#include "base/types.h"

#include "base/parallel.h"

namespace pydl {

static int count = 1;
int threads() { return count; }
void set_threads(int n) { count = n; }

}  // namespace pydl

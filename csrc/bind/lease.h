// Who may run what when: callers of several threads share programs and variables.
//
// In C++ for two reasons. Python runs no signal handler between a `with` statement and an __enter__ or __exit__ that is
// written in C, so Ctrl-C leaves no gate entered and no place lent. And the counters are counters with the GIL or
// without it.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace pydl {

// A condition that threads wait for without the GIL, and that Ctrl-C ends.
class Waiting {
protected:
    // Until ready(), which is called with the mutex; throws what a signal handler raises. Never wait for the GIL with
    // the mutex: whoever has the GIL may wait for the mutex.
    template <class F>
    void wait(std::unique_lock<std::mutex>& lock, F ready);

    std::mutex mutex_;
    std::condition_variable moved_;
};

// Lets many calls read some variables at once, and one write them while nobody reads.
//
// Readers are those between enter and leave; close waits until they have left and keeps others out. Who waits while it
// is closed reads before it closes again, so that writing without a pause starves nobody. The thread that has closed the
// gate may enter.
class Gate : Waiting {
public:
    void enter();
    void leave();
    void close();
    void open();

private:
    void wait_until_open();
    void set_open();

    std::atomic<long> inside_{0};
    std::atomic<unsigned long> closed_by_{0};  // a thread, or 0
    long closings_ = 0;
    long waiting_ = 0;   // readers that came while it is closed
    long admitted_ = 0;  // those of former closings that have not moved on yet
};

// Numbered places, 0 .. count - 1; a call leases one, the one that was given back last. It knows nothing of what is in
// them: objects of Python's would be out of sight of its collector of cycles.
class Places : Waiting {
public:
    explicit Places(int count);
    // Waits when all are lent.
    int take();
    void give(int place);

private:
    std::vector<int> free_;
};

// One call's place, for one `with` statement.
class Lease {
public:
    explicit Lease(std::shared_ptr<Places> from) : from_(std::move(from)) {}
    int enter() { return place_ = from_->take(); }
    void exit() { from_->give(place_); }

private:
    std::shared_ptr<Places> from_;
    int place_ = 0;
};

// A call that reads through a gate with a place, as long as this lives.
class Visit {
public:
    Visit(Gate& gate, Places& places) : gate_(gate), places_(places) {
        gate_.enter();
        try {
            place_ = places_.take();
        } catch (...) {
            gate_.leave();
            throw;
        }
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() {
        places_.give(place_);
        gate_.leave();
    }
    int place() const { return place_; }

private:
    Gate& gate_;
    Places& places_;
    int place_;
};

}  // namespace pydl

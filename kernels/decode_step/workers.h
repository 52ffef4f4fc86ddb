/* Threads that share the tasks of a block.
 *
 * Tasks of a phase are taken one by one, and a phase is over when all are done: a worker that the system has
 * put aside is not waited for unless it holds a task. Idle workers give way soon, since machines are shared,
 * and sleep between frames. OpenMP would bring a second runtime beside torch's, with threads of its own that
 * spin against torch's.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

struct Block;
typedef void (*Task)(const struct Block *, int);

static struct {
    pthread_mutex_t call, door;
    pthread_cond_t bell;
    int started;
    atomic_int wanted, rings, sleeping, left;
    _Atomic uint64_t ticket; /* tasks of the phase << 32 | the next one */
    Task task;
    const struct Block *block;
} pool = {
    .call = PTHREAD_MUTEX_INITIALIZER, .door = PTHREAD_MUTEX_INITIALIZER, .bell = PTHREAD_COND_INITIALIZER};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int take_tasks(void) {
    int taken = 0;
    for (;;) {
        uint64_t ticket = atomic_load(&pool.ticket);
        if ((uint32_t)ticket >= ticket >> 32) return taken;
        ticket = atomic_fetch_add(&pool.ticket, 1);
        if ((uint32_t)ticket >= ticket >> 32) return taken;
        /* Whoever began the phase waits for this task, so what it has put into the pool stands until then. */
        pool.task(pool.block, (int)(uint32_t)ticket);
        atomic_fetch_sub(&pool.left, 1);
        taken = 1;
    }
}

static void sleep_until_rung(int heard) {
    pthread_mutex_lock(&pool.door);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.rings) == heard) pthread_cond_wait(&pool.bell, &pool.door);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.door);
}

static void *work(void *number) {
    int heard = 0, idle = 0;
    for (;;) {
        int rings = atomic_load(&pool.rings);
        if ((intptr_t)number < atomic_load(&pool.wanted) && take_tasks()) idle = 0;
        if (idle == 0) heard = rings;
        if (++idle < 1000) relax();
        else if (idle < 1100) sched_yield();
        else sleep_until_rung(heard), idle = 0;
    }
    return NULL;
}

static void forget_workers(void) { /* A forked child has the memory of its parent and none of its threads. */
    pool.started = 0;
    atomic_store(&pool.sleeping, 0);
    pthread_mutex_init(&pool.call, NULL);
    pthread_mutex_init(&pool.door, NULL);
    pthread_cond_init(&pool.bell, NULL);
}

static void call_workers(int wanted) {
    static int watching_forks;
    if (!watching_forks) watching_forks = pthread_atfork(NULL, NULL, forget_workers) == 0;
    for (pthread_t thread; pool.started < wanted; pool.started++) {
        if (pthread_create(&thread, NULL, work, (void *)(intptr_t)pool.started)) break;
        pthread_detach(thread);
    }
    atomic_store(&pool.wanted, wanted);
    atomic_fetch_add(&pool.rings, 1);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.door);
        pthread_cond_broadcast(&pool.bell);
        pthread_mutex_unlock(&pool.door);
    }
}

static void run(Task task, const struct Block *block, int tasks, int alone) {
    if (alone) {
        for (int i = 0; i < tasks; i++) task(block, i);
        return;
    }
    pool.task = task;
    pool.block = block;
    atomic_store(&pool.left, tasks);
    atomic_store(&pool.ticket, (uint64_t)tasks << 32);
    take_tasks();
    for (int waits = 0; atomic_load(&pool.left); waits++) waits < 1000 ? relax() : (void)sched_yield();
}

/* Prints where it is, deep in calls that the compiler inlines, and what is mapped where. */
#include <stdint.h>
#include <stdio.h>

#if defined(__x86_64__)
#define HERE(pc) __asm__ volatile("lea 0(%%rip), %0" : "=r"(pc))
#else
#define HERE(pc) __asm__ volatile("adr %0, ." : "=r"(pc))
#endif

static inline __attribute__((always_inline)) uintptr_t innermost(void) {
  uintptr_t pc;
  HERE(pc);
  return pc;
}

static inline __attribute__((always_inline)) uintptr_t middle(int n) {
  return innermost() + (uintptr_t)n * 0;
}

__attribute__((noinline)) uintptr_t outermost(int n) {
  return middle(n);
}

int main(int argc, char **argv) {
  (void)argv;
  /* The instruction itself, not the one behind it. */
  printf("%lx\n", (unsigned long)outermost(argc) - 1);
  FILE *maps = fopen("/proc/self/maps", "r");
  for (int c; maps && (c = getc(maps)) != EOF;) putchar(c);
  return 0;
}

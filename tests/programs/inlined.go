// Prints where it is, deep in calls that the compiler inlines, and what is mapped where.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func innermost(pcs []uintptr) int {
	return runtime.Callers(1, pcs)
}

func middle(pcs []uintptr) int {
	return innermost(pcs)
}

//go:noinline
func outermost(pcs []uintptr) int {
	return middle(pcs) + 0
}

func main() {
	pcs := make([]uintptr, 1)
	outermost(pcs)
	// A return address, so that the call is before it.
	fmt.Printf("%x\n", pcs[0]-1)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(maps)
}

// Command points comes by the points that its arguments name, "after step" for
// instance, and says how late it is by its own clock.
package main

import (
	"fmt"
	"os"
	"time"

	"bg/internal/fault"
)

func main() {
	for i := 1; i+1 < len(os.Args); i += 2 {
		fault.Point(os.Args[i], os.Args[i+1])
		fmt.Println(os.Args[i], os.Args[i+1])
	}
	fmt.Println(fault.Now().Sub(time.Now()).Round(time.Second)) //nolint:gocritic // the difference of two clocks
}

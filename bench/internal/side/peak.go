package side

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// peakMB is the largest resident set of this process in MiB: heap, stacks, the Go
// runtime and what is in use of the program's own code and data. It counts from
// forgetPeak on where the system can forget, and elsewhere from the start. If a
// process that this one ran and waited for was larger, it is that one's.
func peakMB() (float64, error) {
	children, err := maxResidentMB(syscall.RUSAGE_CHILDREN)
	if err != nil {
		return 0, err
	}
	self, err := selfPeakMB()
	return max(self, children), err
}

func selfPeakMB() (float64, error) {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		return highWater(status)
	}
	return maxResidentMB(syscall.RUSAGE_SELF)
}

func maxResidentMB(who int) (float64, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		return 0, err
	}
	if runtime.GOOS == "darwin" { // bytes there, KiB elsewhere
		return float64(usage.Maxrss) / (1 << 20), nil
	}
	return float64(usage.Maxrss) / (1 << 10), nil
}

func highWater(status []byte) (float64, error) {
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			var kib float64
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%f kB", &kib); err != nil {
				return 0, fmt.Errorf("VmHWM in /proc/self/status: %w", err)
			}
			return kib / 1024, nil
		}
	}
	return 0, errors.New("no VmHWM in /proc/self/status")
}

// forgetPeak makes the largest resident set what it is now, on Linux. Elsewhere
// the setup stays in the figure, for both sides.
func forgetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200) }

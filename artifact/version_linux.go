package artifact

import (
	"fmt"
	"io/fs"
	"syscall"
)

// version tells one state of a file from another one. The time of change is kept
// by the system: unlike that of modification, nobody can set it.
func version(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime().String()
	}
	return fmt.Sprintf("%d.%d.%d", stat.Ino, stat.Ctim.Sec, stat.Ctim.Nsec)
}

//go:build !linux

package artifact

import "io/fs"

func version(info fs.FileInfo) string { return info.ModTime().String() }

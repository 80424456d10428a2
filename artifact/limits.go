package artifact

import "strings"

// Limits bound what a tree or an archive may cost. They hold for packing and for
// reading alike, so what was packed under some limits opens under the same.
// A field that is zero or less means its default.
type Limits struct {
	// ArchiveBytes bounds the archive file. Default 256 MiB.
	ArchiveBytes int64
	// Bytes bounds what the archive expands to, headers and padding included.
	// [Open] holds the content in memory. Default 512 MiB.
	Bytes int64
	// Entries bounds the number of files, links and directories. Default 100,000.
	Entries int
	// Ratio bounds how many bytes one byte of the archive may expand to, beyond the
	// first 32 MiB: small trees of much the same text cannot hurt. Default 100.
	Ratio int64
	// Depth bounds the number of parts of a path. Default 64.
	Depth int
	// NameLength bounds the bytes of a path and of a link's target. Default 1024.
	NameLength int
	// IgnoreBytes bounds the patterns of [Ignore] and the ignore files of the tree,
	// all together. Default 256 KiB.
	IgnoreBytes int64
	// IgnoreSteps bounds the work of matching them: a step compares a name with a
	// pattern that is a name or an extension, or a byte of a path with a part of any
	// other pattern. Default 2,000,000,000, which is some seconds.
	IgnoreSteps int64
}

// A reader judges the ratio at any byte, a packer only where a piece of the
// archive ends; it is stricter by more than a piece, so that what it lets pass is
// never refused half way through a piece.
const (
	readGrace = 32 << 20
	packGrace = readGrace - 2*maxMember
)

// WithDefaults returns the limits with their defaults filled in.
func (l Limits) WithDefaults() Limits {
	return Limits{
		ArchiveBytes: or(l.ArchiveBytes, 256<<20),
		Bytes:        or(l.Bytes, 512<<20),
		Entries:      or(l.Entries, 100_000),
		Ratio:        or(l.Ratio, 100),
		Depth:        or(l.Depth, 64),
		NameLength:   or(l.NameLength, 1024),
		IgnoreBytes:  or(l.IgnoreBytes, 256<<10),
		IgnoreSteps:  or(l.IgnoreSteps, 2_000_000_000),
	}
}

func or[T ~int | ~int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// checkExpanded judges what came out of so much of an archive.
func (l Limits) checkExpanded(archive, expanded, grace int64) error {
	if expanded > l.Bytes {
		return &LimitError{Limit: "Bytes", Max: l.Bytes}
	}
	if (expanded-grace)/l.Ratio > archive {
		return &LimitError{Limit: "Ratio", Max: l.Ratio}
	}
	return nil
}

func (l Limits) checkArchive(archive int64) error {
	if archive > l.ArchiveBytes {
		return &LimitError{Limit: "ArchiveBytes", Max: l.ArchiveBytes}
	}
	return nil
}

func (l Limits) checkEntries(n int) error {
	if n > l.Entries {
		return &LimitError{Limit: "Entries", Max: int64(l.Entries)}
	}
	return nil
}

func (l Limits) checkName(name string) error {
	if len(name) > l.NameLength {
		return &LimitError{Limit: "NameLength", Max: int64(l.NameLength), Path: name[:min(64, l.NameLength)] + "…"}
	}
	if strings.Count(name, "/") >= l.Depth {
		return &LimitError{Limit: "Depth", Max: int64(l.Depth), Path: name}
	}
	return nil
}

package git

import (
	"fmt"
	"io"
	"time"
)

// Limits bound what a server or a repository can make this process spend. A
// field that is zero or less means its default, but for those that say
// otherwise.
//
// An operation is one Resolve or one transfer. A Fetch is one transfer, and one
// more for each that it takes to fetch anew what was doubtful, to search the
// history step by step, to bring large files, and for each submodule.
type Limits struct {
	// Bytes is how much one operation receives. Default: 512 MiB.
	Bytes int64
	// References is how many references a server may list. It bounds their
	// bytes too, at 256 for each and 1 MiB. Default: 250,000.
	References int
	// Objects is how many objects a transfer may bring. Default: 1,000,000.
	Objects int
	// ObjectSize is how large one object may be, in bytes. Default: 256 MiB.
	ObjectSize int64
	// Inflated is how large all objects of a transfer may be together, in bytes,
	// which bounds what it writes to a disk. Default: 1 GiB.
	Inflated int64
	// Files is how many entries a tree may have, directories included, those of
	// submodules apart. Default: 500,000.
	Files int
	// PathLength is how long a path in a tree may be, in bytes. Default: 4096.
	PathLength int
	// Depth is how deep a tree may be, in directories. Default: 128.
	Depth int
	// Submodules is how many submodules a fetch may bring, those of submodules
	// included. Each has the limits that it is opened with to itself, but for
	// Submodules, SubmoduleDepth and Time, of which those of the repository hold
	// for the whole fetch. Default: 100.
	Submodules int
	// SubmoduleDepth is how deep submodules of submodules may be. Default: 4.
	SubmoduleDepth int
	// History is how many commits deep the history of branches and tags, of at
	// most 2,000 of them, is searched for a commit that the server does not give
	// by its hash. Default: 1,000. Less than zero: it is not searched.
	History int
	// Kept is how large all objects of the commits may be together that a Remote
	// keeps, in bytes, so that later fetches bring only what is new. They are
	// those of the last 8 commits at most. Files from large file storage may be
	// as large again, and so may each submodule. Default: 1 GiB. Less than zero:
	// nothing is kept.
	Kept int64
	// Time is how long one operation may take. Default: 5 minutes.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	set(&l.Bytes, 512<<20)
	set(&l.References, 250_000)
	set(&l.Objects, 1_000_000)
	set(&l.ObjectSize, 256<<20)
	set(&l.Inflated, 1<<30)
	set(&l.Files, 500_000)
	set(&l.PathLength, 4096)
	set(&l.Depth, 128)
	set(&l.Submodules, 100)
	set(&l.SubmoduleDepth, 4)
	if l.History == 0 {
		l.History = 1000
	}
	if l.Kept == 0 {
		l.Kept = 1 << 30
	}
	set(&l.Time, 5*time.Minute)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

func (e *LimitError) value() string {
	switch e.Name {
	case "Time":
		return time.Duration(e.Limit).String()
	case "Bytes", "ObjectSize", "Inflated", "PathLength":
		return fmt.Sprintf("%d bytes", e.Limit)
	}
	return fmt.Sprint(e.Limit)
}

// meteredReader reads at most Limits.Bytes over all streams of an operation,
// and reports progress.
type meteredReader struct {
	r        io.Reader
	meter    *meter
	progress func(Progress)
}

// meter counts the bytes of one operation.
type meter struct {
	received, limit int64
}

func (m *meteredReader) Read(p []byte) (int, error) {
	if left := m.meter.limit - m.meter.received; int64(len(p)) > left+1 {
		p = p[:left+1] // one more than allowed, to tell the limit from the end
	}
	n, err := m.r.Read(p)
	m.meter.received += int64(n)
	if m.meter.received > m.meter.limit {
		return 0, &LimitError{"Bytes", m.meter.limit}
	}
	if n > 0 && m.progress != nil {
		m.progress(Progress{Received: m.meter.received})
	}
	return n, err
}

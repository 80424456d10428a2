package kustomize

// Limits bound what a build may read. A field that is zero or less means its
// default.
type Limits struct {
	// FileBytes bounds each file. Default 16 MiB.
	FileBytes int64
	// Bytes bounds all files of a build together, each counted once, and how much the
	// copies that JSON patches make can add to that; copies of copies, be it by patches
	// or by replacements, add at most a 64th. Default 64 MiB.
	Bytes int64
	// Reads bounds how often kustomize looks at files and directories, the same one
	// counted each time: bases that refer to each other can make that exponential.
	// Default 20,000.
	Reads int
	// Depth bounds the nesting of a document. Default 500.
	Depth int
	// Nodes bounds the values in a file, with what its aliases stand for counted
	// each time. Default 1,000,000.
	Nodes int
	// Objects bounds the objects in all resource files; where kustomize itself has to
	// build them, it needs time in the square of it. Default 5,000.
	Objects int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		FileBytes: or(l.FileBytes, 16<<20),
		Bytes:     or(l.Bytes, 64<<20),
		Reads:     or(l.Reads, 20_000),
		Depth:     or(l.Depth, 500),
		Nodes:     or(l.Nodes, 1_000_000),
		Objects:   or(l.Objects, 5_000),
	}
}

func or[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kustomize sees a disk of its own: the tree is mounted in it, so that ".." beyond
// the tree's root leads to something that is not there rather than back to the
// root.
const mount = "/@tree"

// guard is the file system that kustomize works on. It is the one place through
// which a kustomization reaches kustomize, so it is where refusing happens: what
// kustomize was told to fetch or run is past stopping once it has read it.
type guard struct {
	src     *source
	virtual map[string][]byte // files that are not as the tree has them, by absolute name
	counts  map[string]int    // objects in the files of objects that were checked, by name in the tree
	patched map[string][]any  // files of patches that were checked, and their operations if they have any
	growth  growth
	objects int    // that kustomize was given
	last    string // the last file that was read

	// What was checked is kept if keep is set, for an engine that need not parse it
	// again.
	keep           bool
	documents      map[string][]document           // by name in the tree, until they are taken
	kustomizations map[string]*types.Kustomization // by path

	// exclusive says that this build may change the schema. If it does not, and one
	// is asked for, wantsExclusive is set and the build fails.
	exclusive, wantsExclusive bool

	// err is the first error that was not an answer. kustomize goes on after some, so
	// the build fails with this one even if kustomize was content.
	err error
}

func newGuard(src *source, virtual map[string][]byte, exclusive bool) *guard {
	return &guard{
		src: src, virtual: virtual, exclusive: exclusive,
		counts: map[string]int{}, patched: map[string][]any{},
		documents: map[string][]document{}, kustomizations: map[string]*types.Kustomization{},
	}
}

var errExclusive = errors.New("the build has its own schema and must run alone")

// inTree returns the name in the tree of a path that kustomize uses.
func inTree(file string) (string, error) {
	file = path.Clean(filepath.ToSlash(file))
	if file == mount {
		return ".", nil
	}
	if name, ok := strings.CutPrefix(file, mount+"/"); ok {
		return name, nil
	}
	return "", &RefusedError{File: file, Value: file, Reason: "it is outside of the tree"}
}

// note keeps the first error, but for answers that kustomize asked for: it tries
// names that need not be there, and directories as files.
func (g *guard) note(err error) error {
	expected := missing(err) || errors.Is(err, errIsDir) || errors.Is(err, errExclusive)
	if err != nil && g.err == nil && !expected {
		g.err = err
	}
	return err
}

// ReadFile returns what kustomize may read.
func (g *guard) ReadFile(file string) ([]byte, error) {
	data, err := g.readFile(file)
	if err != nil {
		return nil, g.note(err)
	}
	return data, nil
}

func (g *guard) readFile(file string) ([]byte, error) {
	name, err := inTree(file)
	if err != nil {
		return nil, err
	}
	data, provided := g.virtual[file]
	if !provided {
		if data, err = g.src.read(name); err != nil {
			return nil, err
		}
	}
	if _, read := g.src.files[name]; read || !provided {
		g.last = name
	}
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		if err := g.checkKustomization(file, name, data); err != nil {
			return nil, err
		}
	}
	// A base that is used ten times gives its objects ten times.
	if g.objects += g.counts[name]; g.objects > g.src.lim.Objects {
		return nil, &LimitError{Limit: "Objects", Max: int64(g.src.lim.Objects), File: name}
	}
	// What kustomize does with its copy is not to be in the next one.
	return slices.Clone(data), nil
}

// CleanedAbs splits a path without its links into directory and file.
func (g *guard) CleanedAbs(file string) (filesys.ConfirmedDir, string, error) {
	name, err := inTree(file)
	if err != nil {
		return "", "", g.note(err)
	}
	real, info, err := g.src.stat(name)
	if err != nil {
		return "", "", g.note(err)
	}
	abs := path.Join(mount, real)
	if info.IsDir() {
		return filesys.ConfirmedDir(abs), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(abs)), path.Base(abs), nil
}

// IsDir reports whether a path is a directory.
func (g *guard) IsDir(file string) bool {
	_, base, err := g.CleanedAbs(file)
	return err == nil && base == ""
}

// Exists reports whether there is something at a path.
func (g *guard) Exists(file string) bool {
	_, _, err := g.CleanedAbs(file)
	return err == nil
}

// A build needs none of the others.

func unsupported(op, file string) error {
	return fmt.Errorf("%s %s: %w", op, file, errors.ErrUnsupported)
}

func (g *guard) Create(file string) (filesys.File, error) { return nil, unsupported("create", file) }
func (g *guard) Open(file string) (filesys.File, error)   { return nil, unsupported("open", file) }
func (g *guard) Mkdir(file string) error                  { return unsupported("mkdir", file) }
func (g *guard) MkdirAll(file string) error               { return unsupported("mkdir", file) }
func (g *guard) RemoveAll(file string) error              { return unsupported("remove", file) }
func (g *guard) ReadDir(file string) ([]string, error)    { return nil, unsupported("readdir", file) }
func (g *guard) Glob(pattern string) ([]string, error)    { return nil, unsupported("glob", pattern) }
func (g *guard) WriteFile(file string, _ []byte) error    { return unsupported("write", file) }
func (g *guard) Walk(file string, _ filepath.WalkFunc) error {
	return unsupported("walk", file)
}

// missing reports that a name is not in the tree, as opposed to not readable.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

package artifact

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// maxWriters bounds how many files are written side by side. Creating them is
// what takes the time, and more do not help.
const maxWriters = 8

// bufferedFile is the largest file that another goroutine writes. A larger one is
// written as it comes, so memory is bounded by a few of these.
const bufferedFile = 1 << 20

// writer is a sink that writes below a root of its own.
type writer struct {
	root   *os.Root
	made   map[string]bool // directories
	parent *parent         // of the last file
	links  []entry
	files  chan pending
	free   chan []byte
	done   sync.WaitGroup
	failed atomic.Bool

	mu      sync.Mutex
	err     error // the first one
	entries []summed
}

// summed is an entry with the digest of its content.
type summed struct {
	entry
	sum [sha256.Size]byte
}

// pending is a file to write.
type pending struct {
	entry
	in   *parent
	data []byte
}

// parent is an open directory. Names in it are found without walking the whole
// path; the last user closes it.
type parent struct {
	root  *os.Root
	path  string
	users atomic.Int32
}

func (p *parent) release() {
	if p.users.Add(-1) == 0 {
		_ = p.root.Close()
	}
}

// newWriter makes a directory and returns the writer of what is in it.
func newWriter(root *os.Root, tree string) (*writer, error) {
	if err := root.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	sub, err := root.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	n := min(runtime.GOMAXPROCS(0), maxWriters)
	w := &writer{root: sub, made: map[string]bool{".": true}, files: make(chan pending, n), free: make(chan []byte, 2*n)}
	for range 2 * n {
		w.free <- nil
	}
	for range n {
		w.done.Go(w.work)
	}
	return w, nil
}

// dir makes each directory once. If there is one already then the disk takes two
// names for the same, and that is an error.
func (w *writer) dir(name string) error {
	if w.made[name] {
		return nil
	}
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	w.made[name] = true
	return clash(name, w.root.Mkdir(name, 0o755))
}

// clash explains why something is there already, in a directory that was new: the
// disk does not tell names apart that the archive does.
func clash(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return &EntryError{name, "this disk takes its name for that of another entry: rename one, they may differ in case only"}
	}
	return err
}

func (w *writer) file(e entry, r io.Reader) error {
	if w.failed.Load() {
		return w.failure()
	}
	in, err := w.enter(path.Dir(e.path))
	if err != nil {
		return err
	}
	if e.size > bufferedFile {
		return w.write(pending{e, in, nil}, r)
	}
	data := <-w.free
	if int64(cap(data)) < e.size {
		data = make([]byte, e.size)
	}
	data = data[:e.size]
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	in.users.Add(1)
	w.files <- pending{e, in, data}
	return nil
}

// enter opens a directory, and leaves the one before it.
func (w *writer) enter(name string) (*parent, error) {
	if w.parent != nil && w.parent.path == name {
		return w.parent, nil
	}
	if err := w.dir(name); err != nil {
		return nil, err
	}
	root, err := w.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	w.leave()
	w.parent = &parent{root: root, path: name}
	w.parent.users.Store(1)
	return w.parent, nil
}

func (w *writer) leave() {
	if w.parent != nil {
		w.parent.release()
		w.parent = nil
	}
}

// work writes files until there are no more, also after one has failed: whoever
// brings them must not wait for ever.
func (w *writer) work() {
	for p := range w.files {
		if !w.failed.Load() {
			if err := w.write(p, nil); err != nil {
				w.fail(err)
			}
		}
		p.in.release()
		w.free <- p.data
	}
}

// write writes a file from r, or what is held of it.
func (w *writer) write(p pending, r io.Reader) (err error) {
	f, err := p.in.root.OpenFile(path.Base(p.path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, p.mode)
	if err != nil {
		return clash(p.path, err)
	}
	s := summed{entry: p.entry}
	if r == nil {
		s.sum = sha256.Sum256(p.data)
		_, err = f.Write(p.data)
	} else {
		h := sha256.New()
		_, err = io.Copy(io.MultiWriter(f, h), r)
		s.sum = [sha256.Size]byte(h.Sum(nil))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	w.keep(s)
	return nil
}

func (w *writer) keep(s summed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = append(w.entries, s)
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.failed.Store(true)
}

func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// link waits: while files are written there is no link that they could be
// written through.
func (w *writer) link(e entry) error {
	w.links = append(w.links, e)
	w.keep(summed{e, sha256.Sum256([]byte(e.target))})
	return nil
}

// wait returns when every file is written. No file may come after it.
func (w *writer) wait() error {
	close(w.files)
	w.done.Wait()
	return w.failure()
}

func (w *writer) makeLinks() error {
	for _, e := range w.links {
		if err := w.dir(path.Dir(e.path)); err != nil {
			return err
		}
		if err := clash(e.path, w.root.Symlink(e.target, e.path)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() {
	w.leave()
	_ = w.root.Close()
}

func (w *writer) summary(src *source) Summary {
	slices.SortFunc(w.entries, func(a, b summed) int { return cmp.Compare(a.path, b.path) })
	all := newContentDigest()
	sum := Summary{Digest: src.digester.Digest(), Size: src.n, Files: len(w.entries)}
	for _, e := range w.entries {
		all.add(e.entry, e.sum[:])
		sum.ContentSize += e.size
	}
	sum.ContentDigest = all.sum()
	return sum
}

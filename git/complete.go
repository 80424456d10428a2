package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// nesting is where a fetch is among submodules of submodules.
type nesting struct {
	depth int
	whole *submoduleCount // nil: this is no submodule
}

// submoduleCount is of a whole fetch, with the limits of the repository that all
// of them are in.
type submoduleCount struct {
	submodules, most, deepest int
}

// deeper goes one step down, to a number of submodules.
func (n nesting) deeper(lim Limits, number int) (nesting, error) {
	if n.whole == nil {
		n.whole = &submoduleCount{most: lim.Submodules, deepest: lim.SubmoduleDepth}
	}
	if n.depth++; n.depth > n.whole.deepest {
		return n, &LimitError{"SubmoduleDepth", int64(n.whole.deepest)}
	}
	if n.whole.submodules += number; n.whole.submodules > n.whole.most {
		return n, &LimitError{"Submodules", int64(n.whole.most)}
	}
	return n, nil
}

// complete adds to a snapshot what is not in its repository: large files and
// submodules. The snapshot that is kept stays as it is.
func (f *fetching) complete(ctx context.Context, s *Snapshot) (*Snapshot, error) {
	whole := s
	if f.opts.LFS && len(s.tree.pointers) > 0 || f.opts.Submodules != nil && len(s.tree.gitlinks) > 0 {
		whole = s.clone()
	}
	err := f.addLargeFiles(ctx, whole)
	if err == nil {
		err = f.addSubmodules(ctx, whole)
	}
	if err == nil && f.opts.Stream != nil && !f.streamed {
		err = f.opts.Stream(ctx, whole)
	}
	return whole, err
}

// clone returns a snapshot to which something can be added.
func (s *Snapshot) clone() *Snapshot {
	c := *s
	c.tree = &treeStore{
		objects: s.tree.objects, lim: s.tree.lim, time: s.tree.time, dirs: s.tree.dirs, partial: s.tree.partial,
		trees: s.tree.trees, pointers: s.tree.pointers, gitlinks: s.tree.gitlinks,
		mounted: map[string]*treeStore{}, large: map[id]place{},
	}
	c.tree.root = s.tree.root
	c.tree.root.tree = c.tree
	return &c
}

// addLargeFiles puts files in the place of their pointers. Those that an earlier
// fetch brought are not brought again.
func (f *fetching) addLargeFiles(ctx context.Context, s *Snapshot) error {
	if !f.opts.LFS || len(s.tree.pointers) == 0 {
		return nil
	}
	r := f.remote
	held := r.heldLarge()
	var absent []LFSFile
	for _, file := range s.tree.pointers {
		// One that cannot be had as its pointer says is refused where it is asked for.
		if p, ok := held[file.OID]; !ok || p.size != file.Size || file.Extended {
			absent = append(absent, file)
		}
	}
	if len(absent) > 0 {
		got, err := f.download(ctx, absent)
		if err != nil {
			return err
		}
		maps.Copy(held, got)
	}
	for _, file := range s.tree.pointers {
		n, err := s.tree.walk(file.Path, false)
		if err != nil {
			return err
		}
		s.tree.large[n.hash] = held[file.OID]
	}
	r.holdLarge(held, s.tree.pointers)
	return nil
}

// download brings large files. A few arrive at the same time, each into a
// segment of its own, which then takes the next one.
func (f *fetching) download(ctx context.Context, files []LFSFile) (map[string]place, error) {
	r := f.remote
	ctx, cancel := context.WithTimeoutCause(ctx, r.limits.Time, &LimitError{"Time", int64(r.limits.Time)})
	defer cancel()
	c, err := newLFSClient(r.url, r.transport, r.opts, r.secrets)
	if err != nil {
		return nil, err
	}
	defer c.close()
	c.received = (&sharedMeter{meter: meter{limit: r.limits.Bytes}, progress: r.progress}).add
	segments := make(chan *segment, lfsAtOnce)
	for range lfsAtOnce {
		segments <- newSegment(&r.disk)
	}
	var mu sync.Mutex
	got := map[string]place{}
	err = c.download(ctx, files, func(file LFSFile, content io.Reader) error {
		into := <-segments
		defer func() { segments <- into }()
		at := into.length()
		if err := into.copy(content); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		got[file.OID] = place{record{at: at, size: file.Size, kind: blobObject}, into}
		return nil
	})
	if err != nil {
		for range lfsAtOnce {
			r.disk.discard(<-segments)
		}
	}
	return got, err
}

// copy appends all that can be read.
func (s *segment) copy(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if failure := s.append(buf[:n]); failure != nil {
			return failure
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sharedMeter is a meter for several goroutines.
type sharedMeter struct {
	mu       sync.Mutex
	meter    meter
	progress func(Progress)
}

func (m *sharedMeter) add(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meter.received += int64(n); m.meter.received > m.meter.limit {
		return &LimitError{"Bytes", m.meter.limit}
	}
	if m.progress != nil {
		m.progress(Progress{Received: m.meter.received})
	}
	return nil
}

func (r *Remote) heldLarge() map[string]place {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := maps.Clone(r.large)
	if held == nil {
		held = map[string]place{}
	}
	return held
}

// holdLarge keeps large files for later fetches: all that there are, or only
// those of this one, or none, so that they are not too large together.
func (r *Remote) holdLarge(all map[string]place, these []LFSFile) {
	if largeSize(all) > r.limits.Kept {
		few := map[string]place{}
		for _, file := range these {
			few[file.OID] = all[file.OID]
		}
		if all = few; largeSize(few) > r.limits.Kept {
			all = nil
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.large = all
	}
}

func largeSize(files map[string]place) (total int64) {
	for _, p := range files {
		total += p.size
	}
	return total
}

// addSubmodules fetches the submodules, and puts each in its place.
func (f *fetching) addSubmodules(ctx context.Context, s *Snapshot) error {
	if f.opts.Submodules == nil || len(s.tree.gitlinks) == 0 {
		return nil
	}
	at, err := f.opts.nesting.deeper(f.remote.limits, len(s.tree.gitlinks))
	if err != nil {
		return err
	}
	modules, err := s.gitmodules()
	if err != nil {
		return err
	}
	used := map[string]bool{}
	defer f.remote.forget(used)
	for _, link := range s.tree.gitlinks {
		below, err := f.submodule(ctx, modules[link.path], link.commit, at, used)
		if err != nil {
			return fmt.Errorf("submodule %q: %w", clip(link.path), err)
		}
		s.tree.mounted[link.path] = below.tree
	}
	return nil
}

// gitmodules returns what .gitmodules says, by the paths of the submodules.
func (s *Snapshot) gitmodules() (map[string]submodule, error) {
	const file = ".gitmodules"
	t, err := s.tree.treeOf(s.tree.root.hash)
	if err != nil {
		return nil, err
	}
	e, ok := t.find(file)
	if !ok || !e.mode.IsRegular() {
		return nil, fmt.Errorf("%w: there are submodules, but no file %s that says where they are", ErrMalformed, file)
	}
	p, err := s.tree.objects.find(e.hash)
	if err != nil {
		return nil, err
	}
	if p.size > mostGitmodules {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", ErrMalformed, file, mostGitmodules)
	}
	raw, err := p.content()
	if err != nil {
		return nil, err
	}
	list, err := parseGitmodules(raw)
	if err != nil {
		return nil, err
	}
	byPath := map[string]submodule{}
	for _, m := range list {
		byPath[m.Path] = m
	}
	return byPath, nil
}

// submodule fetches one submodule, and its own, and notes its address.
func (f *fetching) submodule(ctx context.Context, m submodule, commit id, at nesting, used map[string]bool) (*Snapshot, error) {
	if m.URL == "" {
		return nil, fmt.Errorf("%w: .gitmodules says no URL for it", ErrMalformed)
	}
	address, err := resolveSubmoduleURL(f.remote.url, m.URL)
	if err != nil {
		return nil, err
	}
	used[address] = true
	child, err := f.remote.submodule(ctx, f.opts.Submodules, address)
	if err != nil {
		return nil, err
	}
	return child.Fetch(ctx, Revision{Commit: commit.String()}, FetchOptions{
		Submodules: f.opts.Submodules, LFS: f.opts.LFS, nesting: at,
	})
}

package git

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What a directory says of the snapshots that are kept in it.
type keptState struct {
	URL  string
	Kept []keptSnapshot
}

type keptSnapshot struct {
	Revision  Revision
	Reference string
	Want      string
	Walked    int
	Dirs      []string `json:",omitempty"`
	Partial   bool     `json:",omitempty"`
	Segments  []string
}

const (
	stateFile    = "kept.json"
	largestState = 1 << 20
)

// persist writes down what is kept, for the time after a restart: first the
// objects, then what names them, then it removes what nothing names any more. A
// process that ends in between leaves the old state or the new one. If it fails
// nothing is lost but time: the objects are in use as they are.
func (r *Remote) persist() error {
	if r.disk.dir == "" {
		return nil
	}
	r.persisting.Lock()
	defer r.persisting.Unlock()
	state := keptState{URL: r.shown}
	for _, s := range r.keptSnapshots() {
		k := keptSnapshot{
			Revision: s.found.rev, Reference: s.found.ref, Want: s.found.want.String(),
			Walked: s.walked, Partial: s.tree.partial,
		}
		if s.tree.dirs != nil {
			k.Dirs = s.tree.dirs.paths
		}
		for _, segment := range s.tree.objects.segments() {
			if err := r.disk.save(segment); err != nil {
				return err
			}
			k.Segments = append(k.Segments, segment.name)
		}
		state.Kept = append(state.Kept, k)
	}
	if err := r.disk.writeState(state); err != nil {
		return err
	}
	return r.disk.sweep(state, 0)
}

// writeState puts the new state in the place of the old one.
func (d *disk) writeState(state keptState) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := d.try("state"); err != nil {
		return err
	}
	file, err := os.CreateTemp(d.dir, unfinished+"*")
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := d.try("replace"); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(d.dir, stateFile))
}

// sweep removes the files that the state does not name, and of those that were
// never finished those that are older than an age; 0: none of these.
func (d *disk) sweep(state keptState, age time.Duration) error {
	list, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := e.Name()
		named := slices.ContainsFunc(state.Kept, func(k keptSnapshot) bool { return slices.Contains(k.Segments, name) })
		info, err := e.Info()
		old := err == nil && age > 0 && time.Since(info.ModTime()) > age
		if strings.HasSuffix(name, finished) && !named || strings.HasPrefix(name, unfinished) && old {
			if err := d.try("remove"); err != nil {
				return err
			}
			// What cannot be removed now, because it is open, is removed later.
			_ = os.Remove(filepath.Join(d.dir, name))
		}
	}
	return nil
}

// restore brings back what was kept before a restart, once. What is damaged, or
// of another repository, is as if it had not been kept.
func (r *Remote) restore(ctx context.Context) {
	if r.disk.dir == "" {
		return
	}
	r.persisting.Lock()
	defer r.persisting.Unlock()
	if r.restored {
		return
	}
	r.restored = true
	state, err := r.disk.readState()
	if err != nil || state.URL != r.shown {
		return
	}
	loaded := map[string]*segment{}
	var kept []*Snapshot
	for _, k := range state.Kept[:min(len(state.Kept), mostKept)] {
		if s, err := r.restoreSnapshot(ctx, k, loaded); err == nil {
			kept = append(kept, s)
		}
	}
	const abandoned = time.Hour // nothing takes that long, see Limits.Time
	_ = r.disk.sweep(state, max(abandoned, 2*r.limits.Time))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && len(r.kept) == 0 {
		r.kept = kept
	}
}

func (d *disk) readState() (keptState, error) {
	file, err := os.Open(filepath.Join(d.dir, stateFile))
	if err != nil {
		return keptState{}, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	var state keptState
	err = json.NewDecoder(io.LimitReader(file, largestState)).Decode(&state)
	return state, err
}

func (r *Remote) restoreSnapshot(ctx context.Context, k keptSnapshot, loaded map[string]*segment) (*Snapshot, error) {
	found := &resolved{rev: k.Revision, ref: k.Reference}
	var err error
	if found.want, err = parseID(k.Want); err != nil {
		return nil, err
	}
	dirs, err := newDirectories(k.Dirs)
	if err != nil || len(k.Segments) == 0 || len(k.Segments) > 2*mostSegments {
		return nil, errDamaged
	}
	objects := &store{ctx: ctx}
	for _, name := range k.Segments {
		if loaded[name] == nil {
			if loaded[name], err = r.disk.load(ctx, name, r.limits); err != nil {
				return nil, err
			}
		}
		objects.rest = append(objects.rest, loaded[name])
	}
	objects.own, objects.rest = objects.rest[0], objects.rest[1:]
	s, err := newSnapshot(objects, found, r.limits, dirs)
	if err != nil {
		return nil, err
	}
	s.walked, s.tree.partial = k.Walked, k.Partial
	if err := s.tree.load(ctx); err != nil {
		return nil, err
	}
	if len(s.tree.absent) > 0 {
		return nil, errDamaged
	}
	return s, nil
}

package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// submodule opens the repository of a submodule, which has what it had the last
// time.
func (r *Remote) submodule(ctx context.Context, how *Submodules, address string) (*Remote, error) {
	r.mu.Lock()
	child := r.children[address]
	r.mu.Unlock()
	if child.opensAs(how) {
		return child, nil
	}
	opts, err := submoduleOptions(ctx, r.url, r.opts, how, address)
	if err != nil {
		return nil, err
	}
	if r.disk.dir != "" {
		opts.Dir = filepath.Join(r.disk.dir, submoduleDir(address))
	}
	opened, err := Open(address, opts)
	if err != nil {
		return nil, err
	}
	opened.asked = how.Options != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.children[address] // another fetch may have been here meanwhile
	if r.closed {
		opened.transport.close()
		return nil, ErrClosed
	}
	if now.opensAs(how) {
		opened.transport.close()
		return now, nil
	}
	if now != nil {
		opened.inherit(now)
	}
	r.children[address] = opened
	return opened, nil
}

// opensAs says that a Remote is what opening it anew would give.
func (r *Remote) opensAs(how *Submodules) bool { return r != nil && how.Options == nil && !r.asked }

// inherit takes over what another Remote of the same repository has, which may
// be in use.
func (r *Remote) inherit(from *Remote) {
	if from.persisting.TryLock() { // otherwise it is read again
		r.restored = from.restored && from.disk.dir == r.disk.dir
		from.persisting.Unlock()
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	r.kept, r.large, r.children = append(r.kept, from.kept...), from.large, maps.Clone(from.children)
	from.transport.close()
}

const submodulePrefix = "submodule-"

// submoduleDir is the directory of a submodule in that of its parent.
func submoduleDir(address string) string {
	sum := sha256.Sum256([]byte(address))
	return submodulePrefix + hex.EncodeToString(sum[:8])
}

// forget drops submodules that are not used any more when there are many, so
// that who writes to the repository cannot make them more and more.
func (r *Remote) forget(used map[string]bool) {
	r.mu.Lock()
	dirs := map[string]bool{}
	many := len(r.children) > r.limits.Submodules
	for address, child := range r.children {
		if many && !used[address] {
			child.transport.close()
			delete(r.children, address)
			continue
		}
		dirs[submoduleDir(address)] = true
	}
	r.mu.Unlock()
	if r.disk.dir != "" {
		r.disk.forget(dirs, r.limits.Submodules)
	}
}

// forget removes the directories of submodules but for some, if there are more
// than most. What cannot be removed now is removed another time.
func (d *disk) forget(but map[string]bool, most int) {
	list, err := os.ReadDir(d.dir)
	if err != nil {
		return
	}
	var others []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), submodulePrefix) && !but[e.Name()] {
			others = append(others, e.Name())
		}
	}
	if len(others)+len(but) <= most {
		return
	}
	for _, name := range others {
		_ = os.RemoveAll(filepath.Join(d.dir, name))
	}
}

package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/internal/kube"
)

const (
	// listFrom is the least number of objects of one type and namespace for which a
	// list is asked for, in place of each of them.
	listFrom = 10
	// listShare bounds how many objects a list may hold for each that is looked for.
	// To read so many in a list takes the server about as long as one alone.
	listShare = 50
)

// place is where a list looks.
type place struct {
	schema.GroupVersionResource
	namespace string
}

// lookAll decides what is to become of the candidates: by lists where many are in
// one place and the identity may list, else by a look at each.
func (r *pruning) lookAll(ctx context.Context, cs []*candidate) {
	places := map[place]map[string]*candidate{}
	for _, c := range cs {
		t := c.target()
		if t.Check() != nil {
			continue // look says so
		}
		p := place{t.GroupVersionResource, t.Namespace}
		if places[p] == nil {
			places[p] = map[string]*candidate{}
		}
		places[p][t.Name] = c
	}
	var due []func()
	for p, byName := range places {
		if len(byName) >= r.many {
			r.crowds[p] = newCrowd(byName, r.many)
			due = append(due, func() { r.list(ctx, p, byName) })
		}
	}
	each(r, due, func(list func()) { list() })
	each(r, cs, func(c *candidate) {
		if !c.seen {
			r.look(ctx, c)
		}
	})
}

// list looks at the candidates of one place, as far as it gets: an identity may not
// be allowed to list, and others may have far more objects there.
func (r *pruning) list(ctx context.Context, p place, byName map[string]*candidate) {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found := make([]metav1.PartialObjectMetadata, 0, len(byName))
	listed, foreign := 0, false
	err := r.client.ListMetadata(limited, p.GroupVersionResource, p.namespace, "", func(m *metav1.PartialObjectMetadata) {
		listed++
		foreign = foreign || m.Namespace != p.namespace
		if c := byName[m.Name]; c != nil && !foreign {
			m.ManagedFields = r.claims(c, m)
			found = append(found, *m)
		}
		if foreign || len(found) == len(byName) || listed >= listShare*len(byName) {
			cancel() // no further page is needed, or worth it
		}
	})
	if foreign || ctx.Err() != nil {
		return
	}
	for i := range found {
		c := byName[found[i].Name]
		r.decide(c, &found[i])
		delete(byName, found[i].Name)
	}
	if err != nil {
		return
	}
	for _, c := range byName { // the list is complete
		c.seen = true
		c.settle(Absent, "")
	}
}

// claims are the managed fields of an object, if they are needed to judge it. They
// are the largest part of it.
func (r *pruning) claims(c *candidate, m *metav1.PartialObjectMetadata) []metav1.ManagedFieldsEntry {
	if c.entry.UID == m.UID {
		return nil
	}
	return m.ManagedFields
}

// look decides what is to become of a candidate.
func (r *pruning) look(ctx context.Context, c *candidate) {
	if meta := r.read(ctx, c); meta != nil {
		r.decide(c, meta)
	}
}

// decide does so by its metadata.
func (r *pruning) decide(c *candidate, meta *metav1.PartialObjectMetadata) {
	c.seen = true
	if !r.take(c, meta) || r.opts.Elsewhere == nil {
		return
	}
	if c.moves = r.opts.Elsewhere(c.entry.Key); c.moves == r.opts.Owner {
		c.fail(errors.New("PruneOptions.Elsewhere names the set that it is leaving; return another, or \"\""))
	} else if err := checkOwner(c.moves); err != nil {
		c.fail(fmt.Errorf("PruneOptions.Elsewhere: %w", err))
	}
}

// see reads an object's metadata and settles the candidate if it is gone or must
// not be touched. It returns whether there is something to do.
func (r *pruning) see(ctx context.Context, c *candidate) bool {
	meta := r.read(ctx, c)
	return meta != nil && r.take(c, meta)
}

// read returns an object's metadata, or settles the candidate.
func (r *pruning) read(ctx context.Context, c *candidate) *metav1.PartialObjectMetadata {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := r.get(limited, c)
	if err = inTime(ctx, err); err != nil {
		r.failed(ctx, c, err)
		return nil
	}
	if meta == nil {
		c.settle(Absent, "")
	}
	return meta
}

// take keeps an object's metadata, and settles the candidate if it must not be
// touched. It returns whether there is something to do.
func (r *pruning) take(c *candidate, meta *metav1.PartialObjectMetadata) bool {
	c.meta = meta
	if outcome, why := c.judge(r.opts, r.letGo); outcome != "" {
		c.settle(outcome, why)
		return false
	}
	var err error
	if c.how, err = c.propagation(r.opts); err != nil && !r.letGo {
		c.fail(err)
		return false
	}
	c.pinned = meta.UID
	meta.ManagedFields = nil // the largest part, and no longer needed
	return true
}

// get reads an object's metadata; nil means that it is gone. Its type may no
// longer be served as it was applied, but in another version. If in none, the
// definition was deleted, and its objects with it.
func (r *pruning) get(ctx context.Context, c *candidate) (*metav1.PartialObjectMetadata, error) {
	read := func() (*metav1.PartialObjectMetadata, error) { return r.client.GetMetadata(ctx, c.target()) }
	meta, err := retry(ctx, read)
	if kube.TypeNotServed(err) {
		version, findErr := r.servedVersion(ctx, c.entry)
		if findErr != nil || version == "" {
			return nil, findErr
		}
		c.version = version
		meta, err = retry(ctx, read)
		if kube.TypeNotServed(err) {
			return nil, err
		}
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return meta, err
}

// servedVersion finds a version in which the server knows an object's type; empty
// if there is none. Objects of one type ask once.
func (r *pruning) servedVersion(ctx context.Context, e Entry) (string, error) {
	key := Entry{Key: Key{Group: e.Group, Kind: e.Kind}, Resource: e.Resource}
	if e.Namespace != "" {
		key.Namespace = "any"
	}
	r.mu.Lock()
	find := r.versions[key]
	if find == nil {
		find = sync.OnceValues(func() (string, error) { return r.awaitVersion(ctx, e) })
		r.versions[key] = find
	}
	r.mu.Unlock()
	return find()
}

// awaitVersion asks again where a group names a version that is not there, as while
// a definition comes or goes: it rather fails than forgets an object.
func (r *pruning) awaitVersion(ctx context.Context, e Entry) (string, error) {
	for delay, attempt := retryDelay, 1; ; delay, attempt = 4*delay, attempt+1 {
		v, err := r.findVersion(ctx, e)
		if !apierrors.IsNotFound(err) || attempt == retryAttempts || pause(ctx, delay) != nil {
			return v, err
		}
	}
}

func (r *pruning) findVersion(ctx context.Context, e Entry) (string, error) {
	versions, err := retry(ctx, func() ([]string, error) { return r.client.Versions(ctx, e.Group) })
	if err != nil {
		return "", fmt.Errorf("ask the API server for the versions of %s: %w", e.Group, err)
	}
	for _, v := range versions {
		gv := schema.GroupVersion{Group: e.Group, Version: v}
		list, err := retry(ctx, func() (*metav1.APIResourceList, error) { return r.client.Resources(ctx, gv) })
		if err != nil {
			return "", fmt.Errorf("ask the API server for the types of %s: %w", gv, err)
		}
		for _, res := range list.APIResources {
			if res.Name == e.Resource && res.Kind == e.Kind && res.Namespaced == (e.Namespace != "") {
				return v, nil
			}
		}
	}
	return "", nil
}

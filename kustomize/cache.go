package kustomize

import (
	"cmp"
	"context"
	"io/fs"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Cache remembers what builds gave, and builds again only what has changed. It is
// for processes that build the same directories over and over. It is safe for
// concurrent use.
//
// What it returns is the caller's own, as if it had been built. A result is found
// by what it depends on, not by where that came from: trees with the same files
// share it.
type Cache struct {
	results int
	bytes   int64

	mu   sync.Mutex
	used int64
	tick uint64
	kept map[question][]*kept
	all  int
}

// question is what a build is asked for. What the answer is depends on the tree.
type question struct {
	dir     string
	options sum
}

// kept is an answer.
type kept struct {
	inputs  Inputs
	objects []*unstructured.Unstructured // never changed
	bytes   int64
	last    uint64 // tick of its last use
}

// CacheOptions bound a cache. A field that is zero or less means its default.
type CacheOptions struct {
	// Bytes bounds the memory for objects, roughly. Default 256 MiB. A result that
	// would need more than a fourth is not kept.
	Bytes int64
	// Results bounds how many are kept. Default 1,000.
	Results int
}

// maxAnswers bounds the results for the same directory and options. To find the
// right one costs a look at the files of each.
const maxAnswers = 32

// NewCache returns an empty cache.
func NewCache(opts CacheOptions) *Cache {
	return &Cache{results: or(opts.Results, 1_000), bytes: or(opts.Bytes, 256<<20), kept: map[question][]*kept{}}
}

// Build is [Build], but for what is known from before: that is copied, and its
// Cached is true. Whether the tree has changed is found out as
// [Inputs.Unchanged] does it.
func (c *Cache) Build(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	asked := question{cleanDir(dir), opts.digest()}
	p := newProbe(ctx, fsys, opts.Limits.withDefaults())
	for _, k := range c.answers(asked) {
		// What cannot be read here, the build will tell.
		if same, err := k.inputs.same(p); same && err == nil {
			c.touch(k)
			objects, _ := copied(k.objects)
			return &Result{Objects: objects, Inputs: k.inputs, Cached: true}, nil
		}
	}
	res, err := Build(ctx, fsys, dir, opts)
	if err == nil {
		c.keep(asked, res)
	}
	return res, err
}

// answers are those to a question, the last used first.
func (c *Cache) answers(asked question) []*kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.kept[asked])
	slices.SortFunc(list, func(a, b *kept) int { return cmp.Compare(b.last, a.last) })
	return list
}

func (c *Cache) touch(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick++
	k.last = c.tick
}

// keep adds a result, and drops what was not used for longest.
func (c *Cache) keep(asked question, res *Result) {
	objects, bytes := copied(res.Objects)
	if bytes > c.bytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	same := func(k *kept) bool { return k.inputs.digest == res.Inputs.digest }
	if slices.ContainsFunc(c.kept[asked], same) { // another built it meanwhile
		return
	}
	c.tick++
	c.kept[asked] = append(c.kept[asked], &kept{inputs: res.Inputs, objects: objects, bytes: bytes, last: c.tick})
	c.used += bytes
	c.all++
	if len(c.kept[asked]) > maxAnswers {
		c.drop(asked, oldest(c.kept[asked]))
	}
	for c.all > c.results || c.used > c.bytes {
		c.dropOldest()
	}
}

func oldest(list []*kept) int {
	at := 0
	for i, k := range list {
		if k.last < list[at].last {
			at = i
		}
	}
	return at
}

// dropOldest looks at all results, which are few, when one is added.
func (c *Cache) dropOldest() {
	var from question
	at, last := -1, uint64(0)
	for asked, list := range c.kept {
		i := oldest(list)
		if at < 0 || list[i].last < last {
			from, at, last = asked, i, list[i].last
		}
	}
	c.drop(from, at)
}

func (c *Cache) drop(asked question, at int) {
	list := c.kept[asked]
	c.used -= list[at].bytes
	c.all--
	if list = slices.Delete(list, at, at+1); len(list) == 0 {
		delete(c.kept, asked)
		return
	}
	c.kept[asked] = list
}

// copied copies objects, and tells roughly what the copy needs.
func copied(objects []*unstructured.Unstructured) (list []*unstructured.Unstructured, bytes int64) {
	if objects == nil {
		return nil, 0
	}
	list = make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		object, _ := copyValue(o.Object, &bytes).(map[string]any)
		list[i] = &unstructured.Unstructured{Object: object}
	}
	return list, bytes
}

// What values take beside their content.
const (
	costOfMap   = 48
	costOfEntry = 48 // of a map
	costOfValue = 16
)

func copyValue(v any, bytes *int64) any {
	*bytes += costOfValue
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		*bytes += costOfMap
		for key, value := range v {
			*bytes += costOfEntry + int64(len(key))
			m[key] = copyValue(value, bytes)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = copyValue(value, bytes)
		}
		return list
	case string:
		*bytes += int64(len(v))
	}
	return v
}

package kustomize

import (
	"cmp"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/utils"
	"sigs.k8s.io/yaml"
)

// growth bounds what a build can make of a tree by copying. A JSON patch that
// copies a field into itself, or a replacement that does, doubles it; thirty lines
// of that are more memory than there is. How large the objects are is not known
// before the build, so each copy is taken for one of all that was read, as often
// as what it copies may hold earlier copies.
type growth struct {
	made []made
	// What was read, so often: by copies of what the tree has, and by copies of copies.
	once, again int
}

// made is a copy that was made.
type made struct {
	to    []string
	times int
}

const (
	maxCopies = 5_000
	maxTimes  = 1 << 32 // of growth; more is not told apart
)

// add counts a copy from a field to another, and returns as how much of what was
// read the source must be taken. The copy takes the place of what the target has,
// or, if joins is set, of a part of it.
func (g *growth) add(from, to []string, joins bool) (times int) {
	times = 1
	inside, old := 0, 1
	again := overlap(from, to) // it copies what may be a copy
	for _, m := range g.made {
		if overlap(m.to, from) {
			again = true
			if len(m.to) > len(from) {
				inside += m.times
			} else {
				times = max(times, m.times)
			}
		}
		if joins && overlap(m.to, to) {
			old = max(old, m.times)
		}
	}
	times = min(times+inside, maxTimes)
	copied := times
	switch {
	case joins && again:
		copied += old
	case joins:
		copied = old
	}
	g.made = append(g.made, made{to, min(copied, maxTimes)})
	return times
}

// overlap reports whether one path may lead to a part of what the other leads to.
// Indexes and conditions may mean anything.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] && !isItem(a[i]) && !isItem(b[i]) {
			return false
		}
	}
	return true
}

func isItem(part string) bool {
	return part == "-" || strings.Trim(part, "0123456789") == "" || strings.ContainsAny(part, "[]*=")
}

// grow adds to how much the build may grow, and fails when that is too much. For
// copies of copies, which nobody needs many of, that is much sooner.
func (c *checker) grow(once, again int) error {
	g := &c.growth
	g.once, g.again = g.once+once, min(g.again+again, maxTimes)
	if len(g.made) > maxCopies {
		return fmt.Errorf("the build copies more than %d fields", maxCopies)
	}
	most := c.src.lim.Bytes
	if exceeds(c.src.bytes, g.once, most) || exceeds(c.src.bytes, g.again, most/64) {
		return &LimitError{Limit: "Bytes", Max: most, File: c.file}
	}
	return nil
}

func exceeds(bytes int64, times int, most int64) bool {
	return times > 0 && bytes > most/int64(times)
}

// copies counts those of a JSON patch.
func (c *checker) copies(ops []any) error {
	once, again := 0, 0
	for _, op := range ops {
		fields, _ := op.(map[string]any)
		kind, _ := fields["op"].(string)
		if kind != "copy" && kind != "move" {
			continue
		}
		from, _ := fields["from"].(string)
		to, _ := fields["path"].(string)
		if n := c.growth.add(pointer(from), pointer(to), false); kind == "copy" {
			once++
			again += n - 1
		}
	}
	return c.grow(once, again)
}

// pointer splits a JSON pointer.
func pointer(s string) []string {
	parts := strings.Split(strings.Trim(s, "/"), "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	if parts[0] == "" {
		return nil
	}
	return parts
}

// replacementFile counts the copies that a file of replacements makes.
func (c *checker) replacementFile(field, _ string, data []byte) {
	var list []types.Replacement
	if yaml.Unmarshal(data, &list) != nil {
		var one types.Replacement
		if yaml.Unmarshal(data, &one) != nil {
			return // kustomize will say the same
		}
		list = append(list, one)
	}
	for i := range list {
		c.replacement(field, &list[i])
	}
}

// replacement counts what one copies beyond its source, which is mostly a name or
// an image, and small.
func (c *checker) replacement(field string, r *types.Replacement) {
	if r.Source == nil {
		return
	}
	from := fieldPath(r.Source.FieldPath)
	again := 0
	for _, target := range r.Targets {
		if target == nil {
			continue
		}
		joins := target.Options != nil && target.Options.Delimiter != ""
		paths := target.FieldPaths
		if len(paths) == 0 {
			paths = []string{""}
		}
		for _, to := range paths {
			again += c.growth.add(from, fieldPath(to), joins) - 1
		}
	}
	c.fault(field, c.grow(0, again))
}

// fieldPath splits the path of a field as kustomize does it.
func fieldPath(s string) []string {
	return utils.SmarterPathSplitter(cmp.Or(s, types.DefaultReplacementFieldPath), ".")
}

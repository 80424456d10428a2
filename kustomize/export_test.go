package kustomize

import (
	"context"
	"io/fs"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// Alone runs f, which may use kustomize directly, beside no build.
func Alone(ctx context.Context, f func() error) error { return schema.exclusive(ctx, f) }

// Version is what inputs are compared by, beside their content.
const Version = version

// DigestOf sums up options.
func DigestOf(opts Options) string { s := opts.digest(); return string(s[:]) }

// BuildFast builds with the fast engine, and fails where that gives up.
func BuildFast(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	return buildWith(ctx, fsys, dir, opts, fastOnly)
}

// BuildReference builds with kustomize itself.
func BuildReference(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	return buildWith(ctx, fsys, dir, opts, kustomizeOnly)
}

// FieldSpecs are those of a section of our list.
func FieldSpecs(section string) types.FsSlice { return parseFieldSpecs(fieldSpecText).of[section] }

// Reference is a field of our list that holds a name.
type Reference struct {
	Target, Referrer resid.Gvk
	Path             string
}

// References are the fields of our list that hold names.
func References() []Reference {
	var list []Reference
	for _, r := range parseFieldSpecs(fieldSpecText).references {
		path := ""
		for i, part := range r.path {
			if i > 0 {
				path += "/"
			}
			path += strings.ReplaceAll(part, "/", `\/`)
		}
		list = append(list, Reference{r.target, r.referrer, path})
	}
	return list
}

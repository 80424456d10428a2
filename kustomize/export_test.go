package kustomize

import (
	"context"
	"errors"
	"io/fs"
)

// Alone runs f, which may use kustomize directly, beside no build.
func Alone(ctx context.Context, f func() error) error { return schema.exclusive(ctx, f) }

// BuildFast builds with the fast engine, and fails where that gives up.
func BuildFast(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	return buildWith(ctx, fsys, dir, opts, fastOnly)
}

// BuildReference builds with kustomize itself.
func BuildReference(ctx context.Context, fsys fs.FS, dir string, opts Options) (*Result, error) {
	return buildWith(ctx, fsys, dir, opts, kustomizeOnly)
}

// IsUnsure reports that the fast engine gave up.
func IsUnsure(err error) bool { return errors.Is(err, errUnsure) }

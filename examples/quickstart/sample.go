package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"testing/fstest"
	"time"

	"github.com/gitopskit/gitopskit/internal/gitserver"
)

//go:embed all:sample
var sampleFiles embed.FS

// sample is the repository of the story: the files under sample/, committed,
// tagged and served by git itself.
type sample struct {
	repo       *gitserver.Repo
	server     *gitserver.Server
	maintainer *gitserver.OpenPGPSigner // signs tags
	developer  *gitserver.SSHSigner     // signs commits
	stranger   *gitserver.OpenPGPSigner // signs tags, and nobody trusts them
}

// newSample makes the repository with the tag v1.0.0 in dir and serves it on loopback.
func newSample(ctx context.Context, dir string) (*sample, error) {
	s := &sample{}
	var err error
	if s.maintainer, err = gitserver.NewOpenPGPSigner("Maintainer", "maintainer@example.com"); err != nil {
		return nil, err
	}
	if s.stranger, err = gitserver.NewOpenPGPSigner("Stranger", "stranger@example.com"); err != nil {
		return nil, err
	}
	if s.developer, err = gitserver.NewSSHSigner("developer@example.com"); err != nil {
		return nil, err
	}
	if s.repo, err = gitserver.Create(ctx, path.Join(dir, "shop.git")); err != nil {
		return nil, err
	}
	if err := s.release(ctx, "v1.0.0", "Open the shop", s.maintainer, tree("v1.0.0")); err != nil {
		return nil, err
	}
	if s.server, err = gitserver.ServeHTTP(ctx, dir, gitserver.HTTPOptions{}); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sample) url() string { return s.server.URL + "/shop.git" }

// keys are those that the story trusts.
func (s *sample) keys() [][]byte {
	return [][]byte{s.maintainer.PublicKey(), s.developer.PublicKey()}
}

// secondRelease changes one object and removes another.
func (s *sample) secondRelease(ctx context.Context) error {
	files := tree("v1.0.0", "v1.1.0")
	delete(files, "deploy/base/announcement.yaml")
	return s.release(ctx, "v1.1.0", "Paint it green; the announcement is over", s.maintainer, files)
}

// forgedRelease is signed with a key that nobody trusts.
func (s *sample) forgedRelease(ctx context.Context) error {
	files := tree("v1.0.0", "v1.1.0")
	files["deploy/base/settings.yaml"].Data = []byte("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  colour: black\n")
	return s.release(ctx, "v1.2.0", "Trust me", s.stranger, files)
}

func (s *sample) release(ctx context.Context, tag, message string, signer gitserver.Signer, files fstest.MapFS) error {
	commit, err := s.repo.Commit(ctx, files, gitserver.CommitOptions{
		Branch: "main", Message: message, Signer: s.developer, Time: time.Now(),
		Author: gitserver.Person{Name: "Developer", Email: "developer@example.com"},
	})
	if err != nil {
		return fmt.Errorf("commit the sample: %w", err)
	}
	if _, err := s.repo.Tag(ctx, tag, commit, gitserver.TagOptions{Message: message, Signer: signer, Time: time.Now()}); err != nil {
		return fmt.Errorf("tag the sample: %w", err)
	}
	return nil
}

// tree puts layers of the sample on top of each other.
func tree(layers ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for _, layer := range layers {
		sub, err := fs.Sub(sampleFiles, path.Join("sample", layer))
		if err != nil {
			panic(err) // the layers are constants of this file
		}
		err = fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(sub, name)
			files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
			return err
		})
		if err != nil {
			panic(err) // embedded files can be read
		}
	}
	return files
}

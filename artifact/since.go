package artifact

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// packSince packs with the help of an earlier archive, if there is one.
func (s *Store) packSince(ctx context.Context, fsys fs.FS, opts PackOptions) (sum Summary, err error) {
	if f, index := s.previous(opts.Since); f != nil {
		defer func() { _ = f.Close() }() // it was only read
		opts.Previous = &Previous{Archive: f, Index: index}
	}
	if opts.Index == nil && opts.Incremental {
		opts.Index = new(Index)
	}
	err = s.keep(ctx, func(w io.Writer) (digest.Digest, error) {
		sum, err = Pack(ctx, w, fsys, opts)
		return sum.Digest, err
	})
	if err == nil && opts.Incremental && s.local != nil {
		sum.IndexDigest, err = s.keepIndex(sum.Digest, opts.Index)
	}
	return sum, err
}

// keepIndex writes an index beside its archive. It need not survive a crash: what
// is not what it was is not used.
func (s *Store) keepIndex(of digest.Digest, index *Index) (digest.Digest, error) {
	raw, err := index.MarshalBinary()
	if err != nil {
		return "", err
	}
	f, err := s.disk.createTemp(filepath.Join(s.dir, tempDir))
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.disk.rename(f.Name(), s.indexFile(of))
	}
	if err != nil {
		return "", errors.Join(err, s.disk.remove(f.Name()))
	}
	return digest.FromBytes(raw), nil
}

// previous returns an archive and its index; nil if one of them is not there any
// more, or is not what the caller had.
func (s *Store) previous(of Summary) (*os.File, *Index) {
	name, err := Key(of.Digest)
	if err != nil || of.IndexDigest.Validate() != nil || s.local == nil {
		return nil, nil
	}
	raw, err := readIndex(s.indexFile(of.Digest))
	if err != nil || of.IndexDigest.Algorithm().FromBytes(raw) != of.IndexDigest {
		return nil, nil
	}
	index := new(Index)
	if index.UnmarshalBinary(raw) != nil {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, nil
	}
	return f, index
}

// readIndex reads an index, of which the store cannot know that it is small.
func readIndex(name string) ([]byte, error) {
	const most = 128 << 20
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, most))
}

// indexKey names the index of an archive.
func indexKey(archive string) string { return strings.TrimSuffix(archive, archiveExt) + indexExt }

// indexFile names the index of the archive of a digest that was validated.
func (s *Store) indexFile(d digest.Digest) string {
	return filepath.Join(s.dir, archiveDir, d.Encoded()+indexExt)
}

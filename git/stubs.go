package git

import "context"

func versionPrefixes(string) []string { return nil }

type LFSFile struct {
	Path, OID string
	Size      int64
}
type lfsPointer struct {
	OID  string
	Size int64
}

func parseLFSPointer([]byte) (lfsPointer, bool) { return lfsPointer{}, false }

func (f *fetching) complete(ctx context.Context, s *Snapshot) error {
	if f.opts.Stream != nil && !f.streamed {
		return f.opts.Stream(ctx, s)
	}
	return nil
}

package git

import "context"

func (f *fetching) complete(ctx context.Context, s *Snapshot) error {
	if f.opts.Stream != nil && !f.streamed {
		return f.opts.Stream(ctx, s)
	}
	return nil
}

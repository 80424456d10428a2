package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// freeBytes may be unpacked from an archive before its ratio counts: a small
// file of zeros is no attack.
const freeBytes = 1 << 20

// isSubchartArchive reports whether Helm takes a file for a packed subchart:
// charts/NAME.tgz of the chart, or of a subchart of it.
func isSubchartArchive(name string) bool {
	for {
		rest, ok := strings.CutPrefix(name, "charts/")
		if !ok || strings.HasPrefix(rest, "_") || strings.HasPrefix(rest, ".") {
			return false
		}
		if _, name, ok = strings.Cut(rest, "/"); !ok {
			return path.Ext(rest) == ".tgz"
		}
	}
}

// unpack adds the files of a packed chart, name, as those of the directory dir.
func (r *reader) unpack(ctx context.Context, name, dir string, data []byte, depth int) error {
	if depth > r.limits.Depth {
		return r.limit(name, "Depth", r.limits.Depth)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return r.fault(name, fmt.Errorf("it is not a packed chart: %w", err))
	}
	counted := &ratioReader{r: zipped, max: freeBytes + r.limits.Ratio*int64(len(data))}
	files, seen := 0, map[string]bool{}
	for archive := tar.NewReader(counted); ; files++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r.unpackFault(name, err)
		}
		if header.Typeflag == tar.TypeReg {
			// Who looks at the first one would not see what counts.
			if seen[header.Name] {
				return r.fault(name, fmt.Errorf("%q is in it twice; pack the chart again", header.Name))
			}
			seen[header.Name] = true
		}
		if err := r.unpackFile(ctx, name, dir, header, archive, depth); err != nil {
			return err
		}
		if files > r.limits.Files {
			return r.limit(name, "Files", r.limits.Files)
		}
	}
	if files == 0 {
		return r.fault(name, errors.New("the packed chart is empty; pack it again"))
	}
	return nil
}

func (r *reader) unpackFile(ctx context.Context, archive, dir string, header *tar.Header, in io.Reader, depth int) error {
	switch header.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	default:
		return r.fault(archive, fmt.Errorf("%q in it is not a plain file (type %q); pack the chart without links and devices", header.Name, header.Typeflag))
	}
	entry, err := entryName(header.Name)
	if err != nil {
		return r.fault(archive, err)
	}
	if strings.Count(entry, "/") > r.limits.Depth {
		return r.limit(archive, "Depth", r.limits.Depth)
	}
	if header.Size > r.limits.FileBytes {
		return r.limit(archive+": "+entry, "FileBytes", r.limits.FileBytes)
	}
	data, err := io.ReadAll(io.LimitReader(in, r.limits.FileBytes+1))
	if err != nil {
		return r.unpackFault(archive, err)
	}
	name := path.Join(dir, entry)
	if isSubchartArchive(entry) {
		return r.unpack(ctx, name, unpacked(name), data, depth+1)
	}
	return r.add(name, data)
}

// unpacked is the directory that stands for an archive. Its ending must not be
// that of one, or Helm unpacks it again.
func unpacked(archive string) string { return archive + ".unpacked" }

func (r *reader) unpackFault(name string, err error) error {
	if errors.Is(err, errRatio) {
		return r.limit(name, "Ratio", r.limits.Ratio)
	}
	return r.fault(name, fmt.Errorf("the packed chart is damaged: %w", err))
}

// entryName returns the name of an archive's entry without its first directory,
// which is the chart's.
func entryName(name string) (string, error) {
	slashed := strings.ReplaceAll(name, `\`, "/")
	_, rest, ok := strings.Cut(strings.TrimPrefix(slashed, "./"), "/")
	if !ok || !fs.ValidPath(rest) || strings.Contains(rest, ":") || strings.HasPrefix(slashed, "/") || strings.HasPrefix(slashed, "../") {
		return "", fmt.Errorf("%q in it is not a path below the chart's directory; pack the chart again", name)
	}
	return rest, nil
}

var errRatio = errors.New("unpacks to too much")

// ratioReader ends with errRatio after max bytes.
type ratioReader struct {
	r   io.Reader
	max int64
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if r.max -= int64(n); r.max < 0 {
		return 0, errRatio
	}
	return n, err
}

// Package packed looks into a packed chart for what it says of itself.
package packed

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

const (
	maxUnpacked  = 100 << 20 // before Chart.yaml was found; it is the first file
	maxChartYAML = 1 << 20
)

// ErrMismatch says that an archive is not of the chart that was asked for.
var ErrMismatch = errors.New("not the chart that was asked for")

// About is what Chart.yaml says.
type About struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	AppVersion string `json:"appVersion"`
}

// Read finds Chart.yaml in an archive.
func Read(ctx context.Context, archive []byte) (About, error) {
	broken := func(err error) (About, error) {
		return About{}, fmt.Errorf("it is not a packed chart: %s", clip.Quote(err.Error(), 200))
	}
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return broken(err)
	}
	entries := tar.NewReader(io.LimitReader(zipped, maxUnpacked))
	for {
		if ctx.Err() != nil {
			return About{}, context.Cause(ctx)
		}
		header, err := entries.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return broken(errors.New("there is no Chart.yaml in it"))
		} else if err != nil {
			return broken(err)
		}
		name := strings.TrimPrefix(header.Name, "./")
		if _, file, ok := strings.Cut(name, "/"); !ok || file != "Chart.yaml" || header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(entries, maxChartYAML+1))
		if err != nil || len(data) > maxChartYAML {
			return broken(errors.New("its Chart.yaml is damaged or too large"))
		}
		return parse(data)
	}
}

func parse(data []byte) (About, error) {
	var about struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		AppVersion any    `json:"appVersion"`
	}
	if err := yaml.Unmarshal(data, &about); err != nil {
		return About{}, errors.New("its Chart.yaml cannot be read as YAML")
	}
	app := ""
	if about.AppVersion != nil {
		app = clip.Text(fmt.Sprint(about.AppVersion), 200)
	}
	return About{Name: about.Name, Version: about.Version, AppVersion: app}, nil
}

// Expect refuses an archive of another chart or version. Versions are compared
// without a leading v.
func Expect(got About, name, version string) error {
	if got.Name != name || strings.TrimPrefix(got.Version, "v") != strings.TrimPrefix(version, "v") {
		return fmt.Errorf("%w: the archive says that it is %s %s, and %s %s was asked for",
			ErrMismatch, clip.Quote(fmt.Sprintf("%q", got.Name), 100), clip.Quote(fmt.Sprintf("%q", got.Version), 100), name, version)
	}
	return nil
}

// Digest of an archive, as sha256:<hex>.
func Digest(archive []byte) string {
	sum := sha256.Sum256(archive)
	return "sha256:" + hex.EncodeToString(sum[:])
}

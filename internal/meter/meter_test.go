package meter_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/internal/meter"
)

func TestMeterCountsBodiesAndRequests(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "four")
	}))
	defer srv.Close()

	var m meter.Meter
	var paths []string
	m.Observe(func(method, path string) { paths = append(paths, method+" "+path) })
	client := &http.Client{Transport: m.Wrap(nil)}
	before := m.Count()
	resp, err := client.Post(srv.URL+"/a?secret=x", "text/plain", strings.NewReader("seven77"))
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	require.Equal(t, meter.Count{Requests: 1, Sent: 7, Received: 4}, m.Count().Sub(before))
	require.Equal(t, []string{"POST /a"}, paths)
}

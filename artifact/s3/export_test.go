package s3

import (
	"net/http"
	"time"
)

// Sign signs a request without a body.
func Sign(req *http.Request, region string, cred Credentials, now time.Time) {
	sign(req, emptyHash, region, cred, now)
}

// Package s3 keeps the files of an artifact.Store in a bucket of anything that
// speaks the S3 protocol, so that several replicas can serve them. It needs no
// SDK: it makes the five requests that a store needs.
//
//	bucket, err := s3.New(s3.Options{
//		Endpoint: "https://s3.eu-central-1.amazonaws.com", Region: "eu-central-1",
//		Bucket: "artifacts", Credentials: s3.Static(s3.Credentials{AccessKey: id, SecretKey: key}),
//	})
//	store, err := artifact.NewStore(dir, artifact.StoreOptions{Backend: bucket})
//
// # Guarantees
//
//   - A file is there whole or not at all. The server checks its SHA-256.
//   - Requests are signed (Signature Version 4) and go to the endpoint, and to
//     nobody else: redirects are errors. The secret key is never sent, and nothing
//     of the credentials is in an error.
//   - Nothing is read from the environment, from the home directory or from the
//     cloud's metadata service.
//
// # Limits
//
// A listing may have 10,000 pages of 1,000 keys, an answer that is not a file
// 8 MiB. Requests that fail with a status of 429 or from 500 on, or without an
// answer, are sent up to four times within about a second; time is bounded by the
// context. Buckets are addressed by path, not by host name.
//
// # Threat model
//
// Who can write to the bucket can remove archives and put others under their
// names; a store and its consumers find those by their digest. Who runs the server
// can do no more.
package s3

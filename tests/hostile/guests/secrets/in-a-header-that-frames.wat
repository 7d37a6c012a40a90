;; Sends a granted secret as the header that says how long the body is.
;; kind: reporter
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; grants: secrets = ["token"]
;; expect: ends Content-Length
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $post (text "http://127.0.0.1:{port}/") (text "Content-Length") (text "token")))

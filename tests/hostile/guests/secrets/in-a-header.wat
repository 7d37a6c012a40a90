;; Sends a secret that it was not granted to a server that it was.
;; kind: reporter
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; grants: secrets = ["other"]
;; expect: ends may not use secrets `token
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $post (text "http://127.0.0.1:{port}/") (text "X-Token") (text "token")))

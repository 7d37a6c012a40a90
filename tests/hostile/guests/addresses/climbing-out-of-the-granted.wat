;; A page beside the granted folder, by a path through it.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/public/*"]
;; expect: ends may not use http
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://127.0.0.1:{port}/public/%2e%2e/secret")))

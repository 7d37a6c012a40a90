;; A header value with a zero byte.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends control characters
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "X-A") (text "a\00b")))

;; A header name with a new line in it.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends the name of a header
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET") (text "http://127.0.0.1:{port}/") (text "X-A: b\0d\0aX-Admin") (text "yes")))

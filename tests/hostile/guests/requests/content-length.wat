;; Says itself how long the body is.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends Content-Length
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "POST") (text "http://127.0.0.1:{port}/") (text "Content-Length") (text "4")))

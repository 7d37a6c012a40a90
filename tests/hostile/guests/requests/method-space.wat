;; A method with a whole request line in it.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends a method
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "GET /admin HTTP/1.1\0d\0aX:") (text "http://127.0.0.1:{port}/") (text "X-A") (text "b")))

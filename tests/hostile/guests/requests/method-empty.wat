;; No method.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/*"]
;; expect: ends a method
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $request (text "") (text "http://127.0.0.1:{port}/") (text "X-A") (text "b")))

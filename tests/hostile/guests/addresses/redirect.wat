;; A granted page that redirects to one that is not granted: the redirection is an answer, and is not followed.
;; kind: change-source
;; grants: http = ["http://127.0.0.1:{port}/page"]
;; leaves: server GET /page
;; expect: answers
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (drop (call $get (text "http://127.0.0.1:{port}/page")))
  (if (i32.ne (i32.load16_u (i32.const 260)) (i32.const 302)) (then unreachable))
  (call $done))

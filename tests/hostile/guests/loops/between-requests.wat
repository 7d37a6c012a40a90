;; Asks for a denied page for ever: a refusal takes no time, and each is a request.
;; kind: change-source
;; expect: ends more than 1000 requests in one call
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (loop $again (drop (call $get (text "http://198.51.100.1/"))) (br $again)) unreachable)

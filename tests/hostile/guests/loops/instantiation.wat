;; Loops for ever before anybody has called it, in the start function of its module.
;; kind: scheduler
;; expect: ends it ran for more than 300 ms
(func $begin (loop $again (br $again)))
(start $begin)

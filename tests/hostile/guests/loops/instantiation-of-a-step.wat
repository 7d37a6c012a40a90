;; The same in a step: each run makes an instance.
;; expect: ends it ran for more than 300 ms
(func $begin (loop $again (br $again)))
(start $begin)

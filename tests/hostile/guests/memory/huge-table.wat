;; Declares a table of a hundred million elements.
;; kind: scheduler
;; expect: refused exceeds the limit
(table 100000000 funcref)

;; A step that imports what reporters have.
;; expect: refused not in the world
(component (import "capstan:plugin/report-files@wit" (instance)))

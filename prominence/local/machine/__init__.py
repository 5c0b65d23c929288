"""The engine that runs job attempts on this machine.

::

    service process                 launcher process             one supervisor process per attempt
    ---------------                 ----------------             ---------------------------------
    engine.Machine                  launcher.serve()             supervisor.supervise()
      queue.Queue: who is next  --> forks a supervisor       --> claims the attempt with a lock,
      watches supervisors by        for each line read           stages in, runs the tasks, stages out,
      pidfd and lock                                             writes outcome.json, exits

The attempt's directory (:mod:`files`) is all that they share, so that the service can be killed and
started again while supervisors go on.
"""

"""`sekisho.payments.v1.LedgerService`."""

from mesh.calls.wrapping import Context
from mesh.storage.database import Database
from payments.store.ledger import trial_balance
from sekisho.payments.v1 import ledger_service_pb2 as pb
from sekisho.payments.v1 import ledger_service_pb2_grpc as pb_grpc


class LedgerServiceServicer(pb_grpc.LedgerServiceServicer):
    """Lets operators read the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetTrialBalance(self, _request: pb.GetTrialBalanceRequest, _context: Context) -> pb.TrialBalance:
        """Get the totals of each kind of account in each currency."""
        rows = [
            pb.TrialBalanceRow(
                account_kind=row.kind,
                currency_code=row.currency_code,
                account_count=row.account_count,
                debit_minor_units=row.debit,
                credit_minor_units=row.credit,
            )
            for row in await self._database.read(trial_balance)
        ]
        return pb.TrialBalance(rows=rows)
